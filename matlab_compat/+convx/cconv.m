function varargout = cconv(varargin)
%CCONV  Circular convolution of two vectors.
%   c = convx.cconv(a, b, n)
  [varargout{1:max(nargout, 1)}] = convx.call('cconv', varargin{:});
end
