function varargout = convx_fspecial(varargin)
%CONVX_FSPECIAL  Filters by name.
%   h = convx_fspecial(type, parameters...)
  [varargout{1:max(nargout, 1)}] = convx_call('fspecial', varargin{:});
end
