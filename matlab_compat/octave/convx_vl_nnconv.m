function varargout = convx_vl_nnconv(varargin)
%CONVX_VL_NNCONV  Convolution layer of MatConvNet, and its derivatives.
%   Y = convx_vl_nnconv(X, F, B, ...) or [DX, DF, DB] = convx_vl_nnconv(X, F, B, DY, ...)
  [varargout{1:max(nargout, 1)}] = convx_call('vl_nnconv', varargin{:});
end
