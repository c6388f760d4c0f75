function varargout = vl_nnconv(varargin)
%VL_NNCONV  Convolution layer of MatConvNet, and its derivatives.
%   Y = convx.vl_nnconv(X, F, B, ...) or [DX, DF, DB] = convx.vl_nnconv(X, F, B, DY, ...)
  [varargout{1:max(nargout, 1)}] = convx.call('vl_nnconv', varargin{:});
end
