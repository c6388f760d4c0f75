function varargout = imgaussfilt(varargin)
%IMGAUSSFILT  Gaussian smoothing of an image.
%   B = convx.imgaussfilt(A, sigma, name, value...)
  [varargout{1:max(nargout, 1)}] = convx.call('imgaussfilt', varargin{:});
end
