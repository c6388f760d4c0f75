function varargout = convx_deconv(varargin)
%CONVX_DECONV  Division of polynomials.
%   [q, r] = convx_deconv(u, v)
  [varargout{1:max(nargout, 1)}] = convx_call('deconv', varargin{:});
end
