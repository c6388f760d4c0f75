function varargout = dlconv(varargin)
%DLCONV  Convolution of a layer.
%   Y = convx.dlconv(X, weights, bias, name, value...)
  [varargout{1:max(nargout, 1)}] = convx.call('dlconv', varargin{:});
end
