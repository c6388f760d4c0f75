function varargout = convx_maxunpool(varargin)
%CONVX_MAXUNPOOL  Values put back to where maxpool found them.
%   Y = convx_maxunpool(X, indx, outputSize)
  [varargout{1:max(nargout, 1)}] = convx_call('maxunpool', varargin{:});
end
