function varargout = vl_nnpool(varargin)
%VL_NNPOOL  Pooling layer of MatConvNet.
%   Y = convx.vl_nnpool(X, pool, ...) or DX = convx.vl_nnpool(X, pool, DY, ...)
  [varargout{1:max(nargout, 1)}] = convx.call('vl_nnpool', varargin{:});
end
