function varargout = vl_nnconvt(varargin)
%VL_NNCONVT  Transposed convolution layer of MatConvNet.
%   Y = convx.vl_nnconvt(X, F, B, ...) or [DX, DF, DB] = convx.vl_nnconvt(X, F, B, DY, ...)
  [varargout{1:max(nargout, 1)}] = convx.call('vl_nnconvt', varargin{:});
end
