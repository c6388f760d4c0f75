function varargout = conv2(varargin)
%CONV2  Convolution of two matrices, or of a matrix with a column and a row.
%   C = convx.conv2(A, B, shape) or convx.conv2(u, v, A, shape)
  [varargout{1:max(nargout, 1)}] = convx.call('conv2', varargin{:});
end
