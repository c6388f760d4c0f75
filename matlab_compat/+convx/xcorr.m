function varargout = xcorr(varargin)
%XCORR  Correlation of vectors by lag.
%   [r, lags] = convx.xcorr(x, y, maxlag, scaleopt)
  [varargout{1:max(nargout, 1)}] = convx.call('xcorr', varargin{:});
end
