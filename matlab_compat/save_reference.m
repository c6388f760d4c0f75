function save_reference(file, varargin)
%SAVE_REFERENCE  Make calls and save them with their results for "python -m convx matlab-check FILE".
%   save_reference('mine.mat', {'conv2', A, B, 'same'}, {'imfilter', I, h, 'replicate'})
%   save_reference('mine.mat', {2, 'deconv', u, v})      a number in front: so many results, default 1
%   save_reference('mine.mat', ..., '-v7.3')             another format of the file, default -v7
%   A call that fails is saved with the identifier of its error: convx has to fail as well. Runs in MATLAB and Octave.
  found = stamp();
  format = '-v7';
  number = 0;
  for k = 1:numel(varargin)
    call = varargin{k};
    if ischar(call) || isa(call, 'string')
      format = char(call);
      continue
    end
    outputs = 1;
    if isnumeric(call{1})
      outputs = call{1};
      call = call(2:end);
    end
    number = number + 1;
    found = recorded(found, number, struct('name', char(call{1}), 'inputs', {call(2:end)}, ...
                                           'outputs', outputs, 'region', []));
  end
  found.convx_cases = number;
  save(format, file, '-struct', 'found');
end
