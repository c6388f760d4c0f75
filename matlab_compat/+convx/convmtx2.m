function varargout = convmtx2(varargin)
%CONVMTX2  Sparse matrix of the convolution with a matrix.
%   T = convx.convmtx2(H, m, n)
  [varargout{1:max(nargout, 1)}] = convx.call('convmtx2', varargin{:});
end
