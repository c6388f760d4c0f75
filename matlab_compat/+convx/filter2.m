function varargout = filter2(varargin)
%FILTER2  Correlation of a matrix with a filter.
%   Y = convx.filter2(H, X, shape)
  [varargout{1:max(nargout, 1)}] = convx.call('filter2', varargin{:});
end
