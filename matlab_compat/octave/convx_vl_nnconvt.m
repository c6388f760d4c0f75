function varargout = convx_vl_nnconvt(varargin)
%CONVX_VL_NNCONVT  Transposed convolution layer of MatConvNet.
%   Y = convx_vl_nnconvt(X, F, B, ...) or [DX, DF, DB] = convx_vl_nnconvt(X, F, B, DY, ...)
  [varargout{1:max(nargout, 1)}] = convx_call('vl_nnconvt', varargin{:});
end
