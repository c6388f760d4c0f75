function varargout = imfilter(varargin)
%IMFILTER  Filtering of an image of any class and rank.
%   B = convx.imfilter(A, h, options...)
  [varargout{1:max(nargout, 1)}] = convx.call('imfilter', varargin{:});
end
