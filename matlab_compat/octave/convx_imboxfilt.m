function varargout = convx_imboxfilt(varargin)
%CONVX_IMBOXFILT  Box smoothing of an image.
%   B = convx_imboxfilt(A, filterSize, name, value...)
  [varargout{1:max(nargout, 1)}] = convx_call('imboxfilt', varargin{:});
end
