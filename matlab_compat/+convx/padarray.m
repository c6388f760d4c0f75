function varargout = padarray(varargin)
%PADARRAY  An array with a border.
%   B = convx.padarray(A, padsize, padval, direction)
  [varargout{1:max(nargout, 1)}] = convx.call('padarray', varargin{:});
end
