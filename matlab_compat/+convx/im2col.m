function varargout = im2col(varargin)
%IM2COL  Blocks of an image as columns.
%   B = convx.im2col(A, [m n], type)
  [varargout{1:max(nargout, 1)}] = convx.call('im2col', varargin{:});
end
