function varargout = convx_vl_nnpool(varargin)
%CONVX_VL_NNPOOL  Pooling layer of MatConvNet.
%   Y = convx_vl_nnpool(X, pool, ...) or DX = convx_vl_nnpool(X, pool, DY, ...)
  [varargout{1:max(nargout, 1)}] = convx_call('vl_nnpool', varargin{:});
end
