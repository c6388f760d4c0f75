function varargout = convx_avgpool(varargin)
%CONVX_AVGPOOL  Averages of windows.
%   Y = convx_avgpool(X, poolsize, name, value...)
  [varargout{1:max(nargout, 1)}] = convx_call('avgpool', varargin{:});
end
