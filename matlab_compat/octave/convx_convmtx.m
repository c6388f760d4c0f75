function varargout = convx_convmtx(varargin)
%CONVX_CONVMTX  Matrix of the convolution with a vector.
%   A = convx_convmtx(h, n)
  [varargout{1:max(nargout, 1)}] = convx_call('convmtx', varargin{:});
end
