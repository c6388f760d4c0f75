function varargout = convx_filter2(varargin)
%CONVX_FILTER2  Correlation of a matrix with a filter.
%   Y = convx_filter2(H, X, shape)
  [varargout{1:max(nargout, 1)}] = convx_call('filter2', varargin{:});
end
