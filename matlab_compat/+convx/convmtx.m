function varargout = convmtx(varargin)
%CONVMTX  Matrix of the convolution with a vector.
%   A = convx.convmtx(h, n)
  [varargout{1:max(nargout, 1)}] = convx.call('convmtx', varargin{:});
end
