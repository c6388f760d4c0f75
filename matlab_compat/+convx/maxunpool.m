function varargout = maxunpool(varargin)
%MAXUNPOOL  Values put back to where maxpool found them.
%   Y = convx.maxunpool(X, indx, outputSize)
  [varargout{1:max(nargout, 1)}] = convx.call('maxunpool', varargin{:});
end
