function varargout = convn(varargin)
%CONVN  Convolution of two arrays of any rank.
%   C = convx.convn(A, B, shape)
  [varargout{1:max(nargout, 1)}] = convx.call('convn', varargin{:});
end
