function varargout = convx_imgaussfilt(varargin)
%CONVX_IMGAUSSFILT  Gaussian smoothing of an image.
%   B = convx_imgaussfilt(A, sigma, name, value...)
  [varargout{1:max(nargout, 1)}] = convx_call('imgaussfilt', varargin{:});
end
