function varargout = convx_imfilter(varargin)
%CONVX_IMFILTER  Filtering of an image of any class and rank.
%   B = convx_imfilter(A, h, options...)
  [varargout{1:max(nargout, 1)}] = convx_call('imfilter', varargin{:});
end
