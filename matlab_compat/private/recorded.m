function found = recorded(found, number, call)
%RECORDED  Make one call and add its arguments and results, under its number, to the variables of a reference file.
%   call has the fields name, arguments (cell), outputs (how many), region (empty, or first and last row and column that
%   are to be compared).
  if ~exist(call.name)
    error('convx:reference:noFunction', 'There is no function %s here.', call.name);
  end
  prefix = sprintf('c%05d_', number);
  found.([prefix 'call']) = call.name;
  arguments = call.arguments;
  for k = 1:numel(arguments)
    found.(sprintf('%sin%d', prefix, k)) = arguments{k};
  end
  if any(strcmp(call.name, {'dlconv', 'dltranspconv', 'maxpool', 'avgpool', 'maxunpool'}))
    arguments{1} = dlarray(arguments{1}); % they take no plain array
  end
  results = cell(1, call.outputs);
  try
    [results{:}] = feval(call.name, arguments{:});
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
