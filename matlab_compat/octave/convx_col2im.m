function varargout = convx_col2im(varargin)
%CONVX_COL2IM  Columns as blocks of an image.
%   A = convx_col2im(B, [m n], [M N], type)
  [varargout{1:max(nargout, 1)}] = convx_call('col2im', varargin{:});
end
