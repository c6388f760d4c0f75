function varargout = convx_xcorr(varargin)
%CONVX_XCORR  Correlation of vectors by lag.
%   [r, lags] = convx_xcorr(x, y, maxlag, scaleopt)
  [varargout{1:max(nargout, 1)}] = convx_call('xcorr', varargin{:});
end
