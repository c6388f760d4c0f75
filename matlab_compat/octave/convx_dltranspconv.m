function varargout = convx_dltranspconv(varargin)
%CONVX_DLTRANSPCONV  Transposed convolution of a layer.
%   Y = convx_dltranspconv(X, weights, bias, name, value...)
  [varargout{1:max(nargout, 1)}] = convx_call('dltranspconv', varargin{:});
end
