function varargout = convx_conv2(varargin)
%CONVX_CONV2  Convolution of two matrices, or of a matrix with a column and a row.
%   C = convx_conv2(A, B, shape) or convx_conv2(u, v, A, shape)
  [varargout{1:max(nargout, 1)}] = convx_call('conv2', varargin{:});
end
