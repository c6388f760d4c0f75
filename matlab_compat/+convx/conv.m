function varargout = conv(varargin)
%CONV  Convolution of two vectors.
%   w = convx.conv(u, v, shape)
  [varargout{1:max(nargout, 1)}] = convx.call('conv', varargin{:});
end
