function varargout = imboxfilt(varargin)
%IMBOXFILT  Box smoothing of an image.
%   B = convx.imboxfilt(A, filterSize, name, value...)
  [varargout{1:max(nargout, 1)}] = convx.call('imboxfilt', varargin{:});
end
