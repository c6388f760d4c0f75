function varargout = convx_padarray(varargin)
%CONVX_PADARRAY  An array with a border.
%   B = convx_padarray(A, padsize, padval, direction)
  [varargout{1:max(nargout, 1)}] = convx_call('padarray', varargin{:});
end
