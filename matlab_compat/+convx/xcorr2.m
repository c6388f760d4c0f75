function varargout = xcorr2(varargin)
%XCORR2  Correlation of two matrices.
%   C = convx.xcorr2(A, B)
  [varargout{1:max(nargout, 1)}] = convx.call('xcorr2', varargin{:});
end
