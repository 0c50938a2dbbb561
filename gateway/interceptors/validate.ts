import { create, type DescMessage, type DescMethod, type Message } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator, type Violation } from "@bufbuild/protovalidate";
import type { Interceptor } from "@connectrpc/connect";
import { edgeError } from "../connect-errors.ts";
import { type QuickCheck, quickCheck } from "./quick-check.ts";

/** Violations named in one error; a request with more has other worries. */
const VIOLATIONS_MAX = 32;

/**
 * Checks every request against the rules of its proto file. A violation is `invalid_argument` with one BadRequest
 * field violation for each field, in every protocol.
 * @param methods are compiled now, so that no call pays for it
 */
export function createValidateInterceptor(methods: readonly DescMethod[]): Interceptor {
  const validator = createValidator({ regexMatch: matches });
  const quickChecks = new Map<DescMessage, QuickCheck | undefined>();
  for (const { input } of methods) {
    validator.validate(input, create(input));
    quickChecks.set(input, quickCheck(input));
  }

  const check = (schema: DescMessage, message: Message) => {
    if (quickChecks.get(schema)?.(message) === true) return;
    const result = validator.validate(schema, message);
    if (result.kind === "error") throw edgeError("INTERNAL", "internal error", { cause: result.error });
    if (result.kind === "invalid") throw violationError(result.violations);
  };

  return (next) => (request) => {
    if (!request.stream) {
      check(request.method.input, request.message);
      return next(request);
    }
    return next({
      ...request,
      message: checkEach(request.message, (message) => check(request.method.input, message)),
    });
  };
}

const patterns = new Map<string, RegExp>();

/** The rules' own patterns, which are plain enough to mean the same in RE2 and here, where they run natively. */
function matches(pattern: string, text: string): boolean {
  let compiled = patterns.get(pattern);
  if (compiled === undefined) {
    compiled = new RegExp(pattern, "u");
    patterns.set(pattern, compiled);
  }
  return compiled.test(text);
}

async function* checkEach<T>(messages: AsyncIterable<T>, check: (message: T) => void): AsyncGenerator<T> {
  for await (const message of messages) {
    check(message);
    yield message;
  }
}

function violationError(found: readonly Violation[]) {
  const violations = found.slice(0, VIOLATIONS_MAX).map(({ field, message, ruleId }) => ({
    field: pathToString(field),
    description: message,
    rule: ruleId,
  }));
  const text = violations.map(({ field, description }) =>
    field === "" ? description : `${field}: ${description}`,
  );
  const rest = found.length > violations.length ? `; and ${found.length - violations.length} more` : "";
  return edgeError("VALIDATION", `${text.join("; ")}${rest}`, { violations });
}
