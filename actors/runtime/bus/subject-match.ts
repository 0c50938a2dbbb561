/** True if a subject matches a filter: `*` stands for one token, a closing `>` for one or more. */
export function matchesSubject(filter: string, subject: string): boolean {
  let f = 0;
  let s = 0;
  for (;;) {
    if (filter.charCodeAt(f) === GREATER && f + 1 === filter.length) return s < subject.length;
    const filterEnd = tokenEnd(filter, f);
    const subjectEnd = tokenEnd(subject, s);
    const isWild = filterEnd === f + 1 && filter.charCodeAt(f) === STAR;
    if (
      !isWild &&
      (filterEnd - f !== subjectEnd - s || !filter.startsWith(subject.slice(s, subjectEnd), f))
    ) {
      return false;
    }
    if (filterEnd === filter.length || subjectEnd === subject.length) {
      return filterEnd === filter.length && subjectEnd === subject.length;
    }
    f = filterEnd + 1;
    s = subjectEnd + 1;
  }
}

const DOT = 46;
const STAR = 42;
const GREATER = 62;

function tokenEnd(text: string, from: number): number {
  let end = from;
  while (end < text.length && text.charCodeAt(end) !== DOT) end++;
  return end;
}

/** True if the filter names more than one subject. */
export function isWildcard(filter: string): boolean {
  return filter.includes("*") || filter.endsWith(">");
}

/** A matcher for several filters; literal ones cost one lookup however many they are. No filter matches everything. */
export function createMatcher(filters: readonly string[]): (subject: string) => boolean {
  if (filters.length === 0 || filters.includes(">")) return () => true;
  const [only = ""] = filters;
  if (filters.length === 1)
    return isWildcard(only) ? (subject) => matchesSubject(only, subject) : (subject) => subject === only;
  const literals = new Set(filters.filter((filter) => !isWildcard(filter)));
  const wildcards = filters.filter(isWildcard);
  return (subject) =>
    literals.has(subject) || wildcards.some((wildcard) => matchesSubject(wildcard, subject));
}
