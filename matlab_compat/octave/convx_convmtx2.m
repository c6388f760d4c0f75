function varargout = convx_convmtx2(varargin)
%CONVX_CONVMTX2  Sparse matrix of the convolution with a matrix.
%   T = convx_convmtx2(H, m, n)
  [varargout{1:max(nargout, 1)}] = convx_call('convmtx2', varargin{:});
end
