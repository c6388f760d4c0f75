function varargout = avgpool(varargin)
%AVGPOOL  Averages of windows.
%   Y = convx.avgpool(X, poolsize, name, value...)
  [varargout{1:max(nargout, 1)}] = convx.call('avgpool', varargin{:});
end
