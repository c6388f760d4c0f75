function varargout = convx_im2col(varargin)
%CONVX_IM2COL  Blocks of an image as columns.
%   B = convx_im2col(A, [m n], type)
  [varargout{1:max(nargout, 1)}] = convx_call('im2col', varargin{:});
end
