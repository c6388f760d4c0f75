function varargout = col2im(varargin)
%COL2IM  Columns as blocks of an image.
%   A = convx.col2im(B, [m n], [M N], type)
  [varargout{1:max(nargout, 1)}] = convx.call('col2im', varargin{:});
end
