function varargout = convx_conv(varargin)
%CONVX_CONV  Convolution of two vectors.
%   w = convx_conv(u, v, shape)
  [varargout{1:max(nargout, 1)}] = convx_call('conv', varargin{:});
end
