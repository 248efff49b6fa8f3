/** Control characters but for tabs and line ends, and marks that change the direction of what follows or that show nothing. */
export const unseen = /([\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb])/;
