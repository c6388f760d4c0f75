function varargout = deconv(varargin)
%DECONV  Division of polynomials.
%   [q, r] = convx.deconv(u, v)
  [varargout{1:max(nargout, 1)}] = convx.call('deconv', varargin{:});
end
