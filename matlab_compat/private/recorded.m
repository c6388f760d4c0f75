function found = recorded(found, number, call)
%RECORDED  Make one call and add its arguments and results, under its number, to the variables of a reference file.
%   call has the fields name, inputs (cell), outputs (how many), region (empty, or first and last row and column that
%   are to be compared).
  if ~exist(call.name)
    error('convx:reference:noFunction', 'There is no function %s here.', call.name);
  end
  prefix = sprintf('c%05d_', number);
  found.([prefix 'call']) = call.name;
  inputs = call.inputs;
  for k = 1:numel(inputs)
    if isa(inputs{k}, 'string') && isscalar(inputs{k})
      inputs{k} = char(inputs{k}); % "same" in double quotes: files hold characters
    end
    found.(sprintf('%sin%d', prefix, k)) = inputs{k};
  end
  if any(strcmp(call.name, {'dlconv', 'dltranspconv', 'maxpool', 'avgpool', 'maxunpool'}))
    inputs{1} = dlarray(inputs{1}); % they take no plain array
  end
  results = cell(1, call.outputs);
  try
    [results{:}] = feval(call.name, inputs{:});
  catch problem
    found.([prefix 'error']) = problem.identifier;
    found.([prefix 'message']) = problem.message;
    return
  end
  for k = 1:call.outputs
    if isa(results{k}, 'dlarray')
      results{k} = extractdata(results{k});
    end
    found.(sprintf('%sout%d', prefix, k)) = results{k};
  end
  if ~isempty(call.region)
    found.([prefix 'region']) = call.region;
  end
end
