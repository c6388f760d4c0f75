function varargout = dltranspconv(varargin)
%DLTRANSPCONV  Transposed convolution of a layer.
%   Y = convx.dltranspconv(X, weights, bias, name, value...)
  [varargout{1:max(nargout, 1)}] = convx.call('dltranspconv', varargin{:});
end
