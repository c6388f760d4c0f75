function varargout = convx_cconv(varargin)
%CONVX_CCONV  Circular convolution of two vectors.
%   c = convx_cconv(a, b, n)
  [varargout{1:max(nargout, 1)}] = convx_call('cconv', varargin{:});
end
