/** How long a row is: short in `npm test`, long in `npm run test:faults`. */
const IS_LONG = process.env['FAULTS'] === 'long';

export const byLength = <T>(short: T, long: T): T => (IS_LONG ? long : short);
