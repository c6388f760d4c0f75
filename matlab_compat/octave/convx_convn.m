function varargout = convx_convn(varargin)
%CONVX_CONVN  Convolution of two arrays of any rank.
%   C = convx_convn(A, B, shape)
  [varargout{1:max(nargout, 1)}] = convx_call('convn', varargin{:});
end
