function varargout = convx_xcorr2(varargin)
%CONVX_XCORR2  Correlation of two matrices.
%   C = convx_xcorr2(A, B)
  [varargout{1:max(nargout, 1)}] = convx_call('xcorr2', varargin{:});
end
