function varargout = fspecial(varargin)
%FSPECIAL  Filters by name.
%   h = convx.fspecial(type, parameters...)
  [varargout{1:max(nargout, 1)}] = convx.call('fspecial', varargin{:});
end
