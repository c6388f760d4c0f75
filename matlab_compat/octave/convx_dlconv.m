function varargout = convx_dlconv(varargin)
%CONVX_DLCONV  Convolution of a layer.
%   Y = convx_dlconv(X, weights, bias, name, value...)
  [varargout{1:max(nargout, 1)}] = convx_call('dlconv', varargin{:});
end
